"""The two networks, StarDist and the light U-Net, and the runtimes that run them."""

import os

# Read by torch's thread library when it loads. Threads that spin while they wait slow a busy computer down
# (steps took ten times as long beside other programs); threads that sleep cost next to nothing.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
