"""The heads, one a file; `mil.head.HEADS` names them."""
