// Package mapdns is the DNS server that one writes in an afternoon: miekg/dns's
// server, and a map from names to records. It answers what a master file says,
// correctly and without any care for speed, and is the mark that such care is
// measured against.
package mapdns
