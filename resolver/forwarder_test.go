package resolver

import "github.com/internaldns/internaldns/resolver/forward"

// What is resolved elsewhere is resolved by this.
var _ Forwarder = (*forward.Forwarder)(nil)
