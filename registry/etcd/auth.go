package etcd

import (
	"context"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// newClients returns a client of the user, which authenticates through plain, a
// client without one; without a user they are the same.
//
// By itself a client authenticates with the token that it has. If that has expired,
// etcd 3.4 refuses it there, too, upon which the client authenticates once more, and
// so on without end, as fast as etcd can refuse.
func newClients(config clientv3.Config, username, password string) (client, plain *clientv3.Client, err error) {
	if plain, err = clientv3.New(config); err != nil || username == "" {
		return plain, plain, err
	}
	config.Username, config.Password = username, password
	config.DialOptions = append(config.DialOptions, grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string,
		req, reply any, conn *grpc.ClientConn, next grpc.UnaryInvoker, options ...grpc.CallOption) error {
		if method == etcdserverpb.Auth_Authenticate_FullMethodName {
			return plain.ActiveConnection().Invoke(ctx, method, req, reply, options...)
		}
		return next(ctx, method, req, reply, conn, options...)
	}))
	if client, err = clientv3.New(config); err != nil {
		plain.Close()
	}
	return client, plain, err
}
