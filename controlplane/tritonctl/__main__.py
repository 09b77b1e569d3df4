"""``python -m controlplane.tritonctl``: the same as the console script."""

from controlplane.tritonctl.app import main

main()
