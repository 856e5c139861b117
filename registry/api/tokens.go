package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/internal/filewatch"
	"github.com/internaldns/internaldns/registry"
)

// Tokens are the tokens of a file. Each of its lines is
//
//	NAME SHA256 NETWORK…
//
// with the token's hash in hexadecimal and the networks that it is for, such as
// fdaa:0:18::/48, or * for all. # begins a comment, and empty lines are ignored.
//
// The hash has no salt and is fast. That is enough, because a token is 32 random
// octets and cannot be guessed.
type Tokens struct {
	// Follower follows the file. Changes take effect while it runs. If a file is
	// invalid, that is logged, and the tokens do not change.
	*filewatch.Follower

	path string
	log  *zap.Logger
	list atomic.Pointer[[]token] // of the last valid content
}

// A token is a line of the file.
type token struct {
	name string
	hash [sha256.Size]byte
	grant
}

// maxTokens is the largest file of tokens, in octets: some 10,000 tokens.
const maxTokens = 1 << 20

// NewToken returns a new token, and its line for the file. Without networks, it is
// for all.
func NewToken(name string, networks ...registry.Network) (secret, line string) {
	random := make([]byte, 32)
	rand.Read(random)
	secret = "idns_" + base64.RawURLEncoding.EncodeToString(random)
	scope := []string{"*"}
	if len(networks) > 0 {
		scope = scope[:0]
		for _, n := range networks {
			scope = append(scope, n.String())
		}
	}
	hash := sha256.Sum256([]byte(secret))
	return secret, name + " " + hex.EncodeToString(hash[:]) + " " + strings.Join(scope, " ")
}

// CheckTokens returns what is wrong with the text of a file of tokens, by line.
func CheckTokens(text []byte) error {
	_, err := parseTokens(text)
	return err
}

// ReadTokens reads a file of tokens.
func ReadTokens(path string, log *zap.Logger) (*Tokens, error) {
	if log == nil {
		log = zap.NewNop()
	}
	t := &Tokens{path: path, log: log.With(zap.String("path", path))}
	t.Follower = filewatch.New(filewatch.Config{Paths: []string{path}, Take: t.take, Report: t.report})
	if err := t.Load(context.Background()); err != nil {
		return nil, err
	}
	return t, nil
}

// take makes the tokens of a file those in effect.
func (t *Tokens) take(_ context.Context, content ...io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(content[0], maxTokens+1))
	if err != nil {
		return err
	}
	list, err := parseTokens(text)
	if err != nil {
		return fmt.Errorf("%s: %w", t.path, err)
	}
	if t.list.Swap(&list) != nil {
		t.log.Info("the tokens' file was read", zap.Int("tokens", len(list)))
	}
	return nil
}

// report logs why the file was refused.
func (t *Tokens) report(err error) {
	if err != nil {
		t.log.Error("the tokens' file is refused; the tokens stay as they are", zap.Error(err))
	}
}

// grant returns the grant of a token, or nil if the token is unknown. It takes the
// same time for every token.
func (t *Tokens) grant(secret string) *grant {
	hash := sha256.Sum256([]byte(secret))
	var found *token
	list := *t.list.Load()
	for i := range list {
		if subtle.ConstantTimeCompare(hash[:], list[i].hash[:]) == 1 {
			found = &list[i]
		}
	}
	if found == nil {
		return nil
	}
	return &grant{all: found.all, networks: found.networks, token: found}
}

// holds reports whether the file still gives a token that grant.
func (t *Tokens) holds(g *grant) bool {
	return slices.ContainsFunc(*t.list.Load(), func(k token) bool {
		return k.hash == g.token.hash && k.all == g.all && slices.Equal(k.networks, g.networks)
	})
}

// parseTokens parses a file of tokens. The error names every invalid line.
func parseTokens(text []byte) ([]token, error) {
	if len(text) > maxTokens {
		return nil, fmt.Errorf("the file is larger than %d octets", maxTokens)
	}
	list := []token{}
	names, hashes := make(map[string]bool), make(map[[sha256.Size]byte]bool)
	var errs []error
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		k, err := parseToken(fields)
		switch {
		case err != nil:
		case names[k.name]:
			err = fmt.Errorf("the name %s is given twice", registry.Quote(k.name))
		case hashes[k.hash]:
			err = errors.New("the hash is given twice")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		names[k.name], hashes[k.hash] = true, true
		list = append(list, k)
	}
	return list, errors.Join(errs...)
}

func parseToken(fields []string) (k token, err error) {
	if len(fields) < 3 {
		return k, errors.New("want NAME SHA256 NETWORK…")
	}
	k.name = fields[0]
	hash, err := hex.DecodeString(fields[1])
	if err != nil || len(hash) != sha256.Size {
		return k, errors.New("the second field must be a SHA-256 in hexadecimal") // not quoted: it may be the token itself
	}
	k.hash = [sha256.Size]byte(hash)
	if fields[2] == "*" && len(fields) == 3 {
		k.all = true
		return k, nil
	}
	for _, f := range fields[2:] {
		network, err := registry.ParseNetwork(f)
		if err != nil {
			return k, err
		}
		k.networks = append(k.networks, network)
	}
	slices.Sort(k.networks)
	k.networks = slices.Compact(k.networks)
	return k, nil
}
