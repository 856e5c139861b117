package format

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"

	"github.com/internaldns/internaldns/registry"
)

const (
	// maxYAML is the largest YAML file that is read, in octets: some 100,000
	// machines. YAML can only be read as a tree, which takes about 15 times the
	// memory of the text. JSON has no limit.
	maxYAML = 64 << 20

	// maxAliased bounds how many octets aliases may add to a YAML file. Each node
	// counts as nodeCost octets and its text. The bound is enough for 15,000 machines
	// that share a block of defaults of 20 lines. Without it, a few lines of aliases
	// of aliases could fill the memory.
	maxAliased = 16 << 20
	nodeCost   = 16

	// maxDepth is how deep a YAML file may be nested: as deep as jsontext allows
	// JSON to be.
	maxDepth = 10000
)

// toJSON returns the YAML document text as JSON, with its keys in their order. If it
// cannot, it returns nil and the faults. Faults beside a result are of single values.
//
// YAML reads some machine ids as numbers, such as 148e21, and some regions as other
// types. Where the file's shape has a string, toJSON takes the literal text. Other
// numbers keep all their digits.
func toJSON(text []byte) ([]byte, registry.Faults) {
	refuse := func(format string, args ...any) ([]byte, registry.Faults) {
		return nil, registry.Faults{{Problem: fmt.Sprintf(format, args...)}}
	}
	if len(text) > maxYAML {
		return refuse("the file is larger than %d MiB, the most that is read as YAML: write it as JSON", maxYAML>>20)
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return refuse(isEmpty)
	case err != nil:
		return refuse("%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		return refuse("line %d: a second document begins; want one", second.Line)
	case !errors.Is(err, io.EOF):
		return refuse("%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	c := converter{within: make(map[*yaml.Node]bool)}
	c.node(&doc, fileShape)
	if c.err != nil {
		return refuse("%v", c.err)
	}
	return c.out, c.faults
}

// A shape tells where the registry file has strings.
type shape struct {
	text   bool              // a string
	fields map[string]*shape // an object with these fields
	each   *shape            // a list of these, or an object of these under any key
}

var (
	text = &shape{text: true}

	machineShape = &shape{fields: map[string]*shape{
		"id": text, "state": text, "region": text, "private_ip": text,
		"config": {fields: map[string]*shape{"metadata": {each: text}}},
	}}

	fileShape = &shape{fields: map[string]*shape{
		"apps": {each: &shape{fields: map[string]*shape{
			"name": text, "network": text, "flycast": {each: text}, "machines": {each: machineShape},
		}}},
		"peers":    {each: shapeOf(registry.KindPeer)},
		"networks": {each: shapeOf(registry.KindNetwork)},
		"regions":  {each: shapeOf(registry.KindRegion)},
	}}
)

// shapeOf returns the shape of an object of a kind.
func shapeOf(kind registry.Kind) *shape {
	s := &shape{fields: make(map[string]*shape)}
	for _, f := range (registry.Key{Kind: kind}).Fact().Fields() {
		if _, number := f.Value.(*float64); !number {
			s.fields[f.Name] = text
		}
	}
	return s
}

// field returns the shape of a field of s; nil if it is unknown.
func (s *shape) field(name string) *shape {
	if s == nil {
		return nil
	}
	if f, ok := s.fields[name]; ok {
		return f
	}
	return s.each
}

// A converter writes YAML nodes as JSON.
type converter struct {
	out    []byte
	faults registry.Faults
	err    error // ends the conversion

	depth   int
	aliases int                 // how many aliases the current node is within
	aliased int                 // octets that aliases have added so far; see maxAliased
	within  map[*yaml.Node]bool // the anchored nodes that the current node is within
}

func (c *converter) node(n *yaml.Node, s *shape) {
	c.depth++
	defer func() { c.depth-- }()
	switch {
	case c.err != nil:
		return
	case c.depth > maxDepth:
		c.fail(n, "nested more than %d deep", maxDepth)
		return
	}
	c.spend(n)
	switch n.Kind {
	case yaml.DocumentNode:
		c.node(n.Content[0], s)
	case yaml.AliasNode:
		c.follow(n, func(target *yaml.Node) { c.node(target, s) })
	case yaml.SequenceNode:
		c.out = append(c.out, '[')
		for i, item := range n.Content {
			if i > 0 {
				c.out = append(c.out, ',')
			}
			c.node(item, s.field(""))
		}
		c.out = append(c.out, ']')
	case yaml.MappingNode:
		c.out = append(c.out, '{')
		for i, p := range c.pairs(n) {
			if i > 0 {
				c.out = append(c.out, ',')
			}
			c.quote(p.key, p.key.Value)
			c.out = append(c.out, ':')
			c.node(p.value, s.field(p.key.Value))
		}
		c.out = append(c.out, '}')
	case yaml.ScalarNode:
		c.scalar(n, s != nil && s.text)
	}
}

// scalar writes a scalar: as null if YAML reads it as null, otherwise as a string if
// text is true, or as the type that YAML reads.
func (c *converter) scalar(n *yaml.Node, text bool) {
	tag := n.ShortTag()
	switch {
	case tag == "!!null":
		c.out = append(c.out, "null"...)
	case text:
		c.quote(n, n.Value)
	case tag == "!!bool":
		c.out = strconv.AppendBool(c.out, strings.EqualFold(n.Value, "true"))
	case tag == "!!int", tag == "!!float":
		number, ok := jsonNumber(n.Value)
		if !ok {
			c.faults = append(c.faults, registry.Fault{
				Problem: fmt.Sprintf("line %d: %s is no number that JSON has", n.Line, registry.Quote(n.Value)),
			})
			number = "0"
		}
		c.out = append(c.out, number...)
	default:
		c.quote(n, n.Value)
	}
}

func (c *converter) quote(n *yaml.Node, s string) {
	var err error
	if c.out, err = jsontext.AppendQuote(c.out, s); err != nil {
		c.fail(n, "invalid UTF-8")
	}
}

// jsonNumber returns a YAML number in JSON: as it is written if that is JSON,
// otherwise with all its digits. It reports false if JSON has no such number.
func jsonNumber(s string) (string, bool) {
	if v := jsontext.Value(s); v.Kind() == jsontext.KindNumber && v.IsValid() {
		return s, true
	}
	if len(s) > 1000 {
		return "", false // it takes long to convert, and no file needs it
	}
	digits := strings.ReplaceAll(strings.TrimPrefix(s, "+"), "_", "")
	if i, ok := new(big.Int).SetString(digits, 0); ok { // 0x1F, 0o17, 017, 0b11
		return i.String(), true
	}
	f, err := strconv.ParseFloat(digits, 64) // .5, 1., 1e+06
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return "", false
	}
	return strconv.FormatFloat(f, 'g', -1, 64), true
}

// A pair is an entry of a mapping.
type pair struct{ key, value *yaml.Node }

// pairs returns the entries of a mapping in their order. The entries that it merges
// from others are where the merge key is. An own entry is used before a merged one of
// the same key, and an earlier merged one before a later one.
func (c *converter) pairs(n *yaml.Node) []pair {
	own := make(map[string]bool, len(n.Content)/2)
	merges := false
	for i := 0; i+1 < len(n.Content); i += 2 {
		if isMerge(n.Content[i]) {
			merges = true
		} else if key := c.key(n.Content[i]); key != nil {
			own[key.Value] = true
		}
	}
	pairs := make([]pair, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content) && c.err == nil; i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if !merges || !isMerge(key) {
			pairs = append(pairs, pair{c.key(key), value})
			continue
		}
		for _, p := range c.merged(value) {
			if !own[p.key.Value] {
				own[p.key.Value] = true
				pairs = append(pairs, p)
			}
		}
	}
	return pairs
}

func isMerge(key *yaml.Node) bool { return key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge" }

// key returns the scalar that is a key; nil if it is none. Its literal text is the
// key.
func (c *converter) key(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode {
		c.fail(n, "a key must be a scalar")
		return nil
	}
	c.spend(n)
	return n
}

// merged returns the entries that a merge key adds: those of a mapping, or of a list
// of mappings.
func (c *converter) merged(n *yaml.Node) (pairs []pair) {
	if c.err != nil {
		return nil
	}
	c.spend(n)
	switch n.Kind {
	case yaml.AliasNode:
		c.follow(n, func(target *yaml.Node) { pairs = c.merged(target) })
	case yaml.MappingNode:
		pairs = c.pairs(n)
	case yaml.SequenceNode:
		for _, item := range n.Content {
			pairs = append(pairs, c.merged(item)...)
		}
	default:
		c.fail(n, "only mappings can be merged")
	}
	return pairs
}

// follow calls visit with the value of an alias.
func (c *converter) follow(n *yaml.Node, visit func(*yaml.Node)) {
	if c.within[n.Alias] {
		c.fail(n, "the alias %s is within its own value", registry.Quote(n.Value))
		return
	}
	c.within[n.Alias] = true
	c.aliases++
	visit(n.Alias)
	c.aliases--
	delete(c.within, n.Alias)
}

// spend counts a node that came through an alias.
func (c *converter) spend(n *yaml.Node) {
	if c.aliases == 0 {
		return
	}
	if c.aliased += nodeCost + len(n.Value); c.aliased > maxAliased {
		c.fail(n, "aliases make the file larger by more than %d MiB", maxAliased>>20)
	}
}

func (c *converter) fail(n *yaml.Node, format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("line %d: %s", n.Line, fmt.Sprintf(format, args...))
	}
}
