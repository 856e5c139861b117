//go:build !linux

package resolver

func newTCPServer(s *Server) (tcpServer, error) { return newTCPGoroutines(s), nil }

// An epollConn is empty where there is no epoll.
type epollConn struct{}
