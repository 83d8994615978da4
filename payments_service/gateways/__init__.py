"""What moves the money: `seam` says what the payments service asks of a gateway, and each gateway is a module."""
