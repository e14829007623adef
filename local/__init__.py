"""The local stack: the real emulator, the real function, and the relay that stands for the platform.

Faults on request, supervision of processes, and the whole Firebase emulator suite. Nothing here is deployed.
"""
