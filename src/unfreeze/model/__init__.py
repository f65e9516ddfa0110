"""The network: a backbone in two layer groups under a head of our own."""
