"""The network: a torchvision backbone in layer groups under a head of our own."""
