"""The only room that sees both pixels and latents."""
