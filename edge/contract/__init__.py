"""What crosses a wall: taxonomy, bundle manifest, records. No I/O; pydantic at the walls."""
