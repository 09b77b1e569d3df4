"""The agent: one per host. It keeps the workers running, brings them their orders and ships what they counted."""
