package client

import "testing"

func TestListenerOnEveryAddressIsReachedOverLoopback(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:9153": "127.0.0.1:9153", ":9153": "127.0.0.1:9153", "0.0.0.0:9153": "127.0.0.1:9153",
		"[::]:9153": "[::1]:9153", "[fdaa::3]:9153": "[fdaa::3]:9153",
	} {
		if got := Reachable(listen); got != want {
			t.Errorf("a listener at %s is asked at %s, want %s", listen, got, want)
		}
	}
}
