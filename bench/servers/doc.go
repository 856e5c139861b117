// Package servers has DNS servers that internaldns is measured with.
//
//	echo.go        returns each datagram unread: what the kernel costs, which no
//	               server on sockets can undercut. In C, and in Go where there is
//	               no C compiler, which costs a few per cent more
//	map.go         miekg/dns's server and a map of names: the server that one
//	               writes in an afternoon
//	upstream.go    the upstream of forwarders that are measured
//	forwarded.go   the names that the upstream answers
package servers
