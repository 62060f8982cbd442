"""Getting files from elsewhere: the client, retries and resumption, and a content-addressed store."""
