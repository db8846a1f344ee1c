"""In-process inference: continuous batching over a paged KV cache, for any ModelRunner."""

import os

# One BLAS thread: a second one spins while it waits, and on a busy machine costs several times what it gives. It must
# be set before numpy is imported for the first time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
