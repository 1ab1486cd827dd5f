"""How a network learns; what it has learned is handed to whoever asked, as nothing here knows a store."""
