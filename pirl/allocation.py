"""How a process that trains on a CPU asks the C library for memory."""

# glibc gives large buffers back to the kernel as soon as they are free, and fetches zeroed pages for the next
# layer. These variables (mallopt(3)) make it keep them: the largest threshold it admits, 8 GiB before any is
# given back, 256 MiB fetched at a time. `make bench-cloning` measures what a training step saves.
KEEP_BUFFERS = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
}
