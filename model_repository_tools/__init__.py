"""Tools for Triton model repositories: inspect a model, write its config.pbtxt, publish it crash-proof.

Stands alone: no Django, no control plane. `model-repository --help` is the command line; the modules are the library.
"""
