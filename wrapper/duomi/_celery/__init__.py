"""What `duomi.celery` is made of."""
