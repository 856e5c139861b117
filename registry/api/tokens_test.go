package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/internaldns/internaldns/internal/filewatch"
	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api/watch"
)

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func TestANewTokenHasTheGrantOfItsLine(t *testing.T) {
	secret, line := NewToken("ci", 0x18, 0x33)
	again, _ := NewToken("ci")
	if len(secret) < 40 || secret == again || strings.Contains(line, secret) {
		t.Errorf("secrets %q and %q, line %q", secret, again, line)
	}
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := ReadTokens(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	g := tokens.grant(secret)
	if g == nil || g.all || !g.sees(0x18) || !g.sees(0x33) || g.sees(0x19) || g.sees(0) {
		t.Errorf("grants %+v", g)
	}
	for _, other := range []string{"", again, secret + "x", secret[:len(secret)-1], strings.ToUpper(secret), hashOf(secret)} {
		if tokens.grant(other) != nil {
			t.Errorf("%q is a token", other)
		}
	}
	if _, line := NewToken("root"); !strings.HasSuffix(line, " *") {
		t.Errorf("a token for all networks has the line %q", line)
	}
}

func TestABrokenFileOfTokensIsRefusedByLine(t *testing.T) {
	hash := hashOf("x")
	text := "a " + hash + " *\n" +
		"a " + hashOf("y") + " *\n" + // a name twice
		"b " + hash + " *\n" + // a hash twice
		"c " + hash[1:] + " *\n" +
		"secret-in-clear secret *\n" +
		"d " + hashOf("z") + "\n" +
		"e " + hashOf("e") + " fdaa:0:18::/64\n" +
		"f " + hashOf("f") + " * fdaa:0:18::/48\n" +
		"\n# nothing\n" +
		"g " + hashOf("g") + " fdaa:0:18::/48 # good\n"
	_, err := parseTokens([]byte(text))
	if err == nil {
		t.Fatal("no error")
	}
	for i, want := range []string{
		`line 2: the name "a" is given twice`, "line 3: the hash is given twice", "line 4: the second field must be a SHA-256 in hexadecimal",
		"line 5: the second field must be a SHA-256 in hexadecimal", "line 6: want NAME SHA256 NETWORK…",
		`line 7: "fdaa:0:18::/64" is no network`, `line 8: "*" is no prefix`,
	} {
		if got := strings.Split(err.Error(), "\n"); len(got) != 7 || !strings.HasPrefix(got[i], want) {
			t.Fatalf("got\n%v\nwant in line %d: %s", err, i, want)
		}
	}
	if _, err := parseTokens(make([]byte, maxTokens+1)); err == nil {
		t.Error("a file over the limit was read")
	}
}

// Every file of tokens is refused as a whole, or each of its lines, apart from empty
// ones and comments, is a token.
func FuzzParseTokens(f *testing.F) {
	f.Add(tokensFile())
	f.Add("a " + hashOf("a") + " *\n\n#\n a\t" + hashOf("b") + " fdaa:0:18::/48 #x")
	f.Add("a\rb")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseTokens([]byte(text))
		if err != nil {
			return
		}
		lines := 0
		for line := range strings.Lines(text) {
			if line, _, _ = strings.Cut(line, "#"); strings.TrimSpace(line) != "" {
				lines++
			}
		}
		if len(list) != lines {
			t.Errorf("%d tokens of %d lines: %q", len(list), lines, text)
		}
		for _, k := range list {
			if k.name == "" || k.all == (len(k.networks) > 0) || k.sees(0) && !k.all {
				t.Errorf("%+v of %q", k, text)
			}
		}
	})
}

// A change of the file takes effect within two looks. If the file is invalid or does
// not exist, the last valid content stays in effect.
func TestTokensFollowTheirFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	synctest.Test(t, func(t *testing.T) {
		write := func(text string, names ...string) {
			t.Helper()
			if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
			// The bubble's clock begins in the year 2000, so the file's time is set to it.
			if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		write("a " + hashOf("a") + " *\n")
		tokens, err := ReadTokens(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		running, stop := context.WithCancel(t.Context())
		defer stop()
		go tokens.Run(running)
		held := tokens.grant("a")
		wants := func(when, want string) {
			t.Helper()
			got := ""
			for _, secret := range []string{"a", "b", "c"} {
				if tokens.grant(secret) != nil {
					got += secret
				}
			}
			if got != want {
				t.Errorf("%s: the tokens are %q, want %q", when, got, want)
			}
		}
		wants("at first", "a")
		write("b " + hashOf("b") + " *\n")
		wants("at once after a change", "a")
		time.Sleep(2*filewatch.Interval + time.Millisecond)
		synctest.Wait()
		wants("two looks later", "b")
		if tokens.holds(held) {
			t.Error("a token that was removed is still valid")
		}
		write("b broken *\n")
		time.Sleep(2*filewatch.Interval + time.Millisecond)
		synctest.Wait()
		wants("after a broken file", "b")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2*filewatch.Interval + time.Millisecond)
		synctest.Wait()
		wants("without the file", "b")

		// The size is equal, and the time differs by less than its resolution.
		write("c " + hashOf("c") + " *\n")
		time.Sleep(2*filewatch.Interval + time.Millisecond)
		synctest.Wait()
		wants("after it is back", "c")
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("a "+hashOf("a")+" *\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2*filewatch.Interval + time.Millisecond)
		synctest.Wait()
		wants("after a change that cannot be seen from outside", "a")
		write("")
		time.Sleep(2*filewatch.Interval + time.Millisecond)
		synctest.Wait()
		wants("of an empty file", "")
	})
}

func TestAnAPIThatNobodyCouldUseIsRefused(t *testing.T) {
	store := registry.NewStore(nil)
	if _, err := New(Config{Store: store, Keeper: registry.ReadOnly{}, Feed: new(watch.Feed)}); err == nil {
		t.Error("without tokens and local access: no error")
	}
	if _, err := New(Config{Local: true}); err == nil {
		t.Error("without a store: no error")
	}
}
