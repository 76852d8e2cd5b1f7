"""What a file is that is not IDX, told by its first bytes, with the way to read it.

In: the first 512 bytes of a file. Out: words for the end of "which looks like …", or "".
"""
CODES = (0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E)  # the types of an IDX file
STARTS = (
    (b"version https://git-lfs",
     "a Git LFS pointer (the file itself was not fetched: git lfs pull)"),
    (b"PK", "a zip archive (of one IDX file it is read as it is; of more, name ARCHIVE.zip/FILE)"),
    (b"\x93NUMPY", "a .npy array (numpy.load reads it, data.write_idx makes an IDX file of it)"),
    (b"\x89PNG", "a PNG picture (data.read_image reads one; a set is read from IDX files)"),
    (b"\xff\xd8\xff", "a JPEG picture (data.read_image reads one; a set is read from IDX files)"),
    (b"GIF8", "a GIF picture (save it as PNG)"),
    (b"\x1f\x8b", "a gzip file inside a gzip file (unpack it once: gzip -d)"),
    (b"\xfd7zXZ\0", "an xz file (unpack it: xz -d)"),
    (b"BZh", "a bzip2 file (unpack it: bzip2 -d)"),
    (b"\x28\xb5\x2f\xfd", "a zstd file (unpack it: zstd -d)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive (unpack it: 7z x)"),
    (b"Rar!", "a RAR archive (unpack it: unrar x)"),
    (b"MATLAB 5.0", "a MATLAB file (scipy.io.loadmat reads it, data.write_idx makes IDX files)"),
    (b"\x89HDF\r\n", "an HDF5 file (h5py reads it, data.write_idx makes IDX files of it)"),
    (b"PAR1", "a Parquet file (pandas.read_parquet reads it, data.write_idx makes IDX files)"),
    (b"ARROW1", "an Arrow file (pyarrow reads it, data.write_idx makes IDX files of it)"),
)
PICKLE = ("a pickle, which may run any program and is never loaded here (if you trust it: "
          "pickle.load, then data.write_idx)")
TORCH = "a file of torch.save (torch.load reads it, data.write_idx makes IDX files of it)"
TEXT = ('plain text (CSV: numpy.loadtxt(FILE, delimiter=",", skiprows=1) reads it, data.write_idx '
        "makes IDX files of its columns)")


def looks_like(head):
    """What a file that begins with the bytes `head` is, in words; "" where nothing is sure."""
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "an HTML page (or XML), as a failed download leaves it"
    if head.startswith(b"PK") and b".npy" in head:
        return "a .npz archive (numpy.load reads it, data.load_mnist that of Keras)"
    if head.startswith(b"PK") and b"/data.pkl" in head:
        return TORCH
    for start, name in STARTS:
        if head.startswith(start):
            return name
    if head[8:12] in (b"WEBP", b"heic", b"mif1", b"avif"):
        return "a WebP, HEIC or AVIF picture (save it as PNG or JPEG)"
    if head[257:262] == b"ustar":
        return "a tar archive (unpack it: tar xf)"
    if head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return PICKLE
    if head[2:4] == b"\0\0" and head[1] in CODES:
        return "a little-endian IDX file (byte order swapped)"
    if head.isascii() and all(byte >= 32 or byte in b"\t\n\f\r" for byte in head):
        return TEXT
    return ""
