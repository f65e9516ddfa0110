"""Archives of any kind, streamed into one plain tar."""
