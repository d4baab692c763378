"""Masks drawn onto bare faces: more pictures of what cameras see too seldom."""
