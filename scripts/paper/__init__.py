"""The paper's evaluation: the experiments, their figures and the report."""
