"""What becomes of locks, statements, nodes and the licence, as pure functions of the polls that saw them."""
