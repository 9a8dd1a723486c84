package zone

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/miekg/dns"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
)

// Bounds on what one fragment may make the compiler do.
const (
	MaxFile        = 2 << 30 // octets of one file
	MaxInclude     = 7       // depth of $INCLUDE
	MaxIncludes    = 4096    // files that one fragment includes
	MaxGenerate    = 65536   // records of one $GENERATE
	MaxGenerateAll = 1 << 20 // records of all $GENERATEs of a fragment
)

// Fragment is one file's part of a zone, before anything is known of the rest.
type Fragment struct {
	Name    string     // the file that messages name
	Guest   bool       // admitted after the host fragments or dropped whole; never an error
	MayHide bool       // a guest that may make a name exist for which a wildcard answered
	Records *rrset.Set // in the order of the file
	TTL     int64      // the $TTL at the end of the file, -1 without one
	Files   []Source   // everything that was read for it

	// Incomplete says that records are missing, because they had faults. Such
	// a fragment makes no zone; what is there is checked all the same.
	Incomplete bool

	held *held // for ParseAgain; nil where it would be of no use
	edit *edit // how the records came about from earlier ones; nil when that is unknown
}

// Source is one file that was read and the SHA-256 of what it held.
type Source struct {
	Name   string
	Digest [sha256.Size]byte
}

// ParseOptions says what a fragment may hold.
type ParseOptions struct {
	Apex     domain.Name
	Include  fs.FS // $INCLUDE reads from it; nil refuses $INCLUDE
	Generate bool  // $GENERATE is allowed
	DNSSEC   bool  // RRSIG, NSEC, NSEC3 and NSEC3PARAM are allowed: a signed zone is read back
	Hold     bool  // the text of a large file is kept, for ParseAgain
}

// Parse reads src, the text of the master file named file (RFC 1035 §5). The
// origin is the apex; owners outside the zone, classes other than IN and
// DNSSEC records are refused; each record with a fault is left out. A record
// without TTL in a file without $TTL stays open until Compile.
func Parse(file string, src []byte, o ParseOptions) (Fragment, diag.List) {
	return parse(file, src, o, shardMin)
}

func parse(file string, src []byte, o ParseOptions, shardMin int) (Fragment, diag.List) {
	p := &parser{o: o, apex: []byte(o.Apex.Wire()), shardMin: shardMin, ttl: -1}
	p.file(file, src, o.Apex, 0)
	f := Fragment{
		Name: file, Records: p.records.Set(), TTL: p.ttl, Files: p.sources, Incomplete: p.faults.HasErrors(),
	}
	if len(p.sources) == 1 && len(p.faults) == 0 {
		f.held = p.held
	}
	return f, p.faults
}

// ReadFile reads one whole file of a tree, refusing what is not a regular file.
// It asks before it opens, where fsys can tell: to open a FIFO is to wait for
// whoever writes into it.
func ReadFile(fsys fs.FS, name string) ([]byte, error) {
	if s, ok := fsys.(fs.StatFS); ok {
		if info, err := s.Stat(name); err == nil && !info.Mode().IsRegular() {
			return nil, errors.New("not a regular file")
		}
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if info.Size() > MaxFile {
		return nil, fmt.Errorf("larger than %d octets", MaxFile)
	}
	buf := make([]byte, info.Size(), info.Size()+1)
	n, err := io.ReadFull(f, buf)
	if err == io.ErrUnexpectedEOF || err == io.EOF {
		return buf[:n], nil
	}
	if err != nil {
		return nil, err
	}
	// The file may have grown since it was measured.
	more, err := io.ReadAll(io.LimitReader(f, MaxFile))
	return append(buf, more...), err
}

// parser holds what outlives one file: an included file goes on where the
// including one stands.
type parser struct {
	o         ParseOptions
	apex      []byte // the same in wire form
	shardMin  int    // octets of a shard
	faults    diag.List
	records   rrset.Builder
	sources   []Source
	ttl       int64
	rdata     []byte // scratch
	generated int
	flooded   bool // with files
	held      *held
}

// reader is the state of one file (RFC 1035 §5.1: origin and last owner).
type reader struct {
	*parser
	scanner
	number uint16
	origin domain.Name
	owner  []byte // last owner; nil before the first, and while it is lost
	lost   bool   // the last owner had a fault: what has no owner below it is left out with it
	depth  int
	fixed  *token // place of every record, for those that a $GENERATE makes

	shard   bool // it reads one of the shards of a file
	spoiled bool // what stands in the shard is more than a shard can read
}

func (p *parser) file(name string, src []byte, origin domain.Name, depth int) {
	at := len(p.sources)
	p.sources = append(p.sources, Source{Name: name})
	digest := p.digest(src)
	defer func() { p.sources[at].Digest = digest() }()
	number, err := p.records.AddFile(name)
	if err != nil {
		p.faults.Errorf(diag.Pos{File: name}, "too-large", "", "%s", err)
		return
	}
	r := &reader{
		parser: p, number: number, origin: origin, depth: depth,
		scanner: scanner{name: name, src: src, line: 1, faults: &p.faults},
	}
	if head, ok := r.directives(); ok {
		r.readBefore(head)
		if r.readShards() {
			r.hold(head)
			return
		}
	}
	r.readBefore(len(src))
}

// readBefore reads the entries that begin before an offset.
func (r *reader) readBefore(end int) {
	for !r.spoiled && r.nextBefore(end) {
		if r.bad {
			r.entryBad()
		} else {
			r.entryDone()
		}
	}
}

func (r *reader) at(t token) diag.Pos {
	if r.fixed != nil {
		t = *r.fixed
	}
	return diag.Pos{File: r.scanner.name, Line: t.line, Column: t.column}
}

func (r *reader) errorf(t token, code, format string, args ...any) {
	r.parser.faults.Errorf(r.at(t), code, "", format, args...)
}

func (r *reader) entryDone() {
	if first := r.tokens[0]; !r.blank && !first.quoted && first.text[0] == '$' {
		r.directive(r.tokens)
		return
	}
	r.record(r.tokens, r.blank)
}

// entryBad takes only the owner from an entry with a lexical fault, so that
// records without an owner below it are not taken for another name's.
func (r *reader) entryBad() {
	if r.blank || len(r.tokens) > 0 && !r.tokens[0].quoted && r.tokens[0].text[0] == '$' {
		return
	}
	r.owner, r.lost = nil, true
	if len(r.tokens) == 0 || r.tokens[0].quoted {
		return
	}
	if wire, err := domain.AppendText(nil, r.tokens[0].text, r.origin); err == nil {
		r.owner, r.lost = wire, false
	}
}

func (r *reader) record(tokens []token, blank bool) {
	first := tokens[0]
	if !blank {
		wire, err := domain.AppendText(r.owner[:0], first.text, r.origin)
		if err == nil && (first.quoted || first.pair) {
			err = errors.New("an owner is not quoted")
		}
		if err != nil {
			r.owner, r.lost = nil, true
			r.errorf(first, "name", "owner %s: %s", quote(first.text), err)
			return
		}
		r.owner, r.lost = wire, false
		tokens = tokens[1:]
	}
	if r.lost {
		return
	}
	if r.owner == nil {
		r.errorf(first, "owner-missing", "no owner: the line begins with white space and no record stands before it")
		return
	}
	typ, ttl, tokens, ok := r.head(first, tokens)
	if !ok {
		return
	}
	if !domain.IsWithin(r.owner, r.apex) {
		r.parser.faults.Errorf(r.at(first), "out-of-zone", r.ownerName(), "owner is outside the zone %s", r.o.Apex)
		return
	}
	if !r.admits(first, typ) {
		return
	}
	rdata, err := appendRdata(r.rdata[:0], typ, tokens, r.origin)
	if err != nil {
		var f *rdataFault
		at := first
		if errors.As(err, &f) && f.at >= 0 && f.at < len(tokens) {
			at = tokens[f.at]
		}
		r.parser.faults.Errorf(r.at(at), "rdata", r.ownerName(), "%s: %s", TypeName(typ), err)
		return
	}
	r.rdata = rdata
	place := r.at(first)
	if err := r.records.Add(r.owner, typ, ttl, rdata, rrset.Pos{File: r.number, Line: uint32(place.Line), Column: place.Column}); err != nil {
		r.spoiled = r.shard // it may fit, or not, elsewhere in the file
		r.errorf(first, "too-large", "%s", err)
	}
}

// head reads what stands between owner and rdata: TTL and class, both optional
// and in either order, and the type.
func (r *reader) head(first token, tokens []token) (typ uint16, ttl int64, rest []token, ok bool) {
	ttl = r.ttl
	hasTTL, hasClass := false, false
	for i, t := range tokens {
		switch word := t.text; {
		case t.quoted:
			r.errorf(t, "type", "%s is quoted: a TTL, a class or a type stands here", quote(word))
			return 0, 0, nil, false
		case !hasClass && isClass(word):
			hasClass = true
			if !bytes.EqualFold(word, []byte("IN")) && !bytes.EqualFold(word, []byte("CLASS1")) {
				r.errorf(t, "class", "class %s: only IN is compiled", quote(word))
				return 0, 0, nil, false
			}
		case !hasTTL && len(word) > 0 && word[0] >= '0' && word[0] <= '9':
			hasTTL = true
			v, err := parseTTL(word, rrset.MaxTTL)
			if err != nil {
				r.errorf(t, "ttl-range", "TTL %s", err)
				return 0, 0, nil, false
			}
			ttl = int64(v)
		default:
			typ, ok = TypeByName(word)
			if !ok {
				r.errorf(t, "type", "unknown type %s", quote(word))
				return 0, 0, nil, false
			}
			return typ, ttl, tokens[i+1:], true
		}
	}
	r.errorf(first, "type", "type is missing")
	return 0, 0, nil, false
}

// ownerName is the last owner in presentation format.
func (r *reader) ownerName() string { return domain.FromCanonical(r.owner).String() }

func isClass(word []byte) bool {
	if len(word) == 2 {
		switch string([]byte{word[0] &^ 0x20, word[1] &^ 0x20}) {
		case "IN", "CS", "CH", "HS":
			return true
		}
		return false
	}
	return len(word) > 5 && bytes.EqualFold(word[:5], []byte("CLASS")) && isAlnum(word[5:])
}

// admits refuses types that are no data: queries, and what the signer makes.
func (r *reader) admits(at token, typ uint16) bool {
	switch typ {
	case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeZONEMD:
		if r.o.DNSSEC {
			return true
		}
		r.parser.faults.Errorf(r.at(at), "dnssec-in-input", r.ownerName(), "%s in the input: the signer makes it", TypeName(typ))
		return false
	case dns.TypeSIG, dns.TypeNXT, dns.TypeKEY, dns.TypeDLV, dns.TypeMD, dns.TypeMF:
		r.parser.faults.Errorf(r.at(at), "type-obsolete", r.ownerName(), "%s is obsolete", TypeName(typ))
		return false
	}
	if typ == dns.TypeOPT || typ >= 128 && typ <= 255 {
		r.parser.faults.Errorf(r.at(at), "type-meta", r.ownerName(), "%s is no data type", TypeName(typ))
		return false
	}
	return true
}
