package api

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
)

// Tokens are the tokens of a file, which is read again when it changes. Each of
// its lines is
//
//	NAME SHA256 NETWORK…
//
// with the token's hash in hexadecimal and the networks that it is for, such as
// fdaa:0:18::/48, or * for all. Empty lines, and what follows a #, do not count.
//
// The hash is a plain one, which is enough because tokens are 32 random octets:
// there is nothing to guess.
type Tokens struct {
	path string
	log  *zap.Logger

	mu      sync.Mutex
	looked  time.Time   // when the file was last looked at
	seen    os.FileInfo // how it looked when it was last read
	content []byte      // what it held then
	list    []token     // of the last good content; replaced, never changed
}

// A token is a line of the file.
type token struct {
	name string
	hash [sha256.Size]byte
	grant
}

const (
	// tokensEvery is how often the file is looked at, at most, and so how long
	// a token can still be good after it was taken out.
	tokensEvery = time.Second

	// settling is how long after its last change a file is read even if it looks
	// as before: two changes within the resolution of its time look like one.
	settling = 3 * time.Second

	// maxTokens is the largest file of tokens, in octets: some 10,000 tokens.
	maxTokens = 1 << 20
)

// NewToken returns a new token, and its line for the file. Without networks it
// is for all of them.
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

// CheckTokens says what is wrong with the text of a file of tokens, by line; nil
// if nothing is.
func CheckTokens(text []byte) error {
	_, err := parseTokens(text)
	return err
}

// ReadTokens reads a file of tokens. When it changes later and is broken, that
// is logged, and the tokens stay as they are.
func ReadTokens(path string, log *zap.Logger) (*Tokens, error) {
	if log == nil {
		log = zap.NewNop()
	}
	t := &Tokens{path: path, log: log.With(zap.String("path", path))}
	return t, t.read(time.Now())
}

// grant returns what a token grants, or nil if it is not known. It takes the
// same time for every token.
func (t *Tokens) grant(secret string) *grant {
	hash := sha256.Sum256([]byte(secret))
	var found *token
	list := t.current()
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

// holds reports whether a grant is still what the file says.
func (t *Tokens) holds(g *grant) bool {
	return slices.ContainsFunc(t.current(), func(k token) bool {
		return k.hash == g.token.hash && k.all == g.all && slices.Equal(k.networks, g.networks)
	})
}

// current returns the tokens, after a look at the file if the last one is a
// while ago.
func (t *Tokens) current() []token {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); now.Sub(t.looked) >= tokensEvery {
		if err := t.refresh(now); err != nil {
			t.log.Error("the tokens' file is refused; the tokens stay as they are", zap.Error(err))
		}
	}
	return t.list
}

// refresh reads the file if it looks changed. An error is returned once for the
// same look of the file.
func (t *Tokens) refresh(now time.Time) error {
	info, err := os.Stat(t.path)
	if err != nil {
		t.looked = now
		if t.seen == nil {
			return nil // it is gone as before
		}
		t.seen = nil
		return err
	}
	if t.seen != nil && os.SameFile(info, t.seen) && info.ModTime().Equal(t.seen.ModTime()) && info.Size() == t.seen.Size() &&
		now.Sub(info.ModTime()) > settling {
		t.looked = now
		return nil
	}
	return t.read(now)
}

// read reads the file. When it fails, the tokens stay as they are.
func (t *Tokens) read(now time.Time) error {
	t.looked = now
	f, err := os.Open(t.path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxTokens+1))
	if err != nil {
		return err
	}
	same := t.seen != nil && bytes.Equal(text, t.content)
	t.seen, t.content = info, text
	if same {
		return nil // also if it was refused: that was said
	}
	list, err := parseTokens(text)
	if err != nil {
		return fmt.Errorf("%s: %w", t.path, err)
	}
	if t.list != nil {
		t.log.Info("the tokens' file was read", zap.Int("tokens", len(list)))
	}
	t.list = list
	return nil
}

// parseTokens parses a file of tokens. The error names every line that is wrong.
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
			err = fmt.Errorf("the name %s is given twice", quote(k.name))
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
