"""What tests share: kitchens, worlds, the in-memory store, a proxy that loses replies, processes."""
