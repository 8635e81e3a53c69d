"""Why an item is at its place on a user's list, or where on the way it fell out."""
