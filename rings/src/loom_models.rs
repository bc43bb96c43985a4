//! Models of the protocols, run by loom over every interleaving and every value the memory model allows.
