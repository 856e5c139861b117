//go:build !linux

package resolver

func newTCPServer(s *Server) (tcpServer, error) { return newTCPSpawner(s), nil }
