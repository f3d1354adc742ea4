"""Records of calls: events, the journal that is written before a message leaves, and the store they end up in."""
