package redisstreamtest

// Unacked is exported for tests.
func (s *Server) Unacked(topic, group string) string { return s.unacked(topic, group) }
