package publish

// Digest is for tests that make a builder's first line.
func Digest(data []byte) string { return digest(data) }
