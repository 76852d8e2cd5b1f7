"""Settings of all tests: one BLAS thread, since they multiply many small matrices and the machine may be shared."""
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
