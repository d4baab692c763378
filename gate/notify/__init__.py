"""Messages to people's telephones and mailboxes about what happens at the doors."""
