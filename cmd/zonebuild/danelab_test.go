package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/lab"
)

// daneLab is a small world: a signed root of its own, signed, unsigned and
// bogus zones in an NSD, a validating Unbound, and TLS servers at addresses of
// the loopback interface, all on one port.
type daneLab struct {
	t        *testing.T
	now      time.Time
	dir      string
	port     int
	ca, mid  *issuer
	zone     map[string]string // its records beside SOA and NS
	certs    map[string][]tls.Certificate
	leaf     map[string]*x509.Certificate // by host
	resolver string                       // ADDRESS@PORT
	addr53   string                       // the same resolver on port 53, for tools that know no other
	anchor   string                       // file of the root's key
	caFile   string
}

// issuer is a certificate with its key.
type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func (l *daneLab) ecKey() *ecdsa.PrivateKey {
	l.t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		l.t.Fatal(err)
	}
	return k
}

// issue makes a certificate; by nil it signs itself.
func (l *daneLab) issue(name string, by *issuer, key crypto.Signer, change func(*x509.Certificate)) *issuer {
	l.t.Helper()
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes([]byte(name)[:min(len(name), 16)]),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    l.now.Add(-24 * time.Hour),
		NotAfter:     l.now.Add(10 * 24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(template)
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		l.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		l.t.Fatal(err)
	}
	return &issuer{cert, key}
}

func caTemplate(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid, c.DNSNames, c.ExtKeyUsage = true, true, nil, nil
	c.KeyUsage = x509.KeyUsageCertSign
	c.NotAfter = c.NotAfter.Add(10 * 365 * 24 * time.Hour)
}

// shows lets the server show for a name a certificate and what comes with it.
func (l *daneLab) shows(host string, cert *issuer, with ...*issuer) {
	chain := tls.Certificate{PrivateKey: cert.key}
	for _, c := range append([]*issuer{cert}, with...) {
		chain.Certificate = append(chain.Certificate, c.cert.Raw)
	}
	l.certs[host] = append(l.certs[host], chain)
	if l.leaf[host] == nil {
		l.leaf[host] = cert.cert
	}
}

// record is the data of a TLSA record of a certificate.
func record(usage, selector, matching int, c *x509.Certificate) string {
	data := c.Raw
	if selector == 1 {
		data = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case 1:
		d := sha256.Sum256(data)
		data = d[:]
	case 2:
		d := sha512.Sum512(data)
		data = d[:]
	}
	return fmt.Sprintf("%d %d %d %s", usage, selector, matching, hex.EncodeToString(data))
}

// wrong is a record of nobody's.
func wrong(usage, selector, matching int) string {
	return fmt.Sprintf("%d %d %d %s", usage, selector, matching, strings.Repeat("2b", 32*matching))
}

// host adds a host of a zone with an address, and its TLSA records.
func (l *daneLab) host(name, addr string, records ...string) {
	host, zone, _ := strings.Cut(name, ".")
	l.zone[zone] += fmt.Sprintf("%s A %s\n", host, addr)
	l.tlsa(name, records...)
}

func (l *daneLab) tlsa(name string, records ...string) {
	host, zone, _ := strings.Cut(name, ".")
	for _, r := range records {
		l.zone[zone] += fmt.Sprintf("_%d._tcp.%s TLSA %s\n", l.port, host, r)
	}
}

// newDANELab makes certificates; the zones are filled before start.
func newDANELab(t *testing.T) *daneLab {
	t.Helper()
	lab.Need(t, "nsd", "unbound", "ldns-keygen", "ldns-signzone")
	if runtime.GOOS != "linux" {
		t.Skip("the loopback interface has one address here")
	}
	l := &daneLab{
		t: t, now: time.Now().UTC().Truncate(time.Second), dir: t.TempDir(), port: lab.FreePort(t),
		certs: map[string][]tls.Certificate{}, leaf: map[string]*x509.Certificate{},
		zone: map[string]string{"lab": "", "signed.lab": "", "unsigned.lab": "", "bogus.lab": "", "stripped.lab": ""},
	}
	l.ca = l.issue("Lab Root", nil, l.ecKey(), caTemplate)
	l.mid = l.issue("Lab Intermediate", l.ca, l.ecKey(), caTemplate)
	l.caFile = filepath.Join(l.dir, "ca.pem")
	write(t, l.caFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: l.ca.cert.Raw})))
	return l
}

// start signs the zones, children first, and starts everything.
func (l *daneLab) start() {
	l.t.Helper()
	t := l.t
	zones := []string{"signed.lab", "unsigned.lab", "bogus.lab", "stripped.lab", "lab", "."}
	below := map[string]string{}
	var anchors []string
	stubs := map[string]string{}
	for _, zone := range zones {
		origin, file := zone+".", filepath.Join(l.dir, zone)
		if zone == "." {
			origin, file = ".", filepath.Join(l.dir, "root")
		}
		text := fmt.Sprintf("$ORIGIN %s\n$TTL 300\n@ SOA ns.lab. hostmaster.lab. 1 3600 600 86400 200\n@ NS ns.lab.\n", origin) + l.zone[zone] + below[zone]
		_, up, _ := strings.Cut(zone, ".")
		if up == "" && zone != "." {
			up = "."
		}
		label, _, _ := strings.Cut(zone, ".")
		below[up] += fmt.Sprintf("%s NS ns.lab.\n", label)
		if zone == "lab" {
			below[up] += "ns.lab A 127.0.0.1\n"
		}
		if zone != "unsigned.lab" {
			ksk, zsk := lab.LDNSKeys(t, origin)
			text = string(lab.LDNSSign(t, origin, text, l.now, ksk, zsk))
			ds := dsOf(t, ksk+".key")
			if zone == "." {
				anchors = append(anchors, ds.String())
			} else {
				below[up] += fmt.Sprintf("%s DS %d %d %d %s\n", label, ds.KeyTag, ds.Algorithm, ds.DigestType, ds.Digest)
			}
		}
		switch zone {
		case "bogus.lab":
			text = change(t, text, func(rr dns.RR) dns.RR {
				if sig, is := rr.(*dns.RRSIG); is && (sig.TypeCovered == dns.TypeTLSA || sig.TypeCovered == dns.TypeA && strings.HasPrefix(sig.Hdr.Name, "host.")) {
					b, _ := base64.StdEncoding.DecodeString(sig.Signature)
					b[10] ^= 1
					sig.Signature = base64.StdEncoding.EncodeToString(b)
				}
				return rr
			})
		case "stripped.lab":
			text = change(t, text, func(rr dns.RR) dns.RR {
				if sig, is := rr.(*dns.RRSIG); is && sig.TypeCovered == dns.TypeNSEC || rr.Header().Rrtype == dns.TypeNSEC {
					return nil
				}
				return rr
			})
		}
		write(t, file, text)
	}
	d := lab.NSD(t, lab.NSDOptions{
		Dir: l.dir, Zones: zones[:len(zones)-1],
		Config: fmt.Sprintf("zone:\n\tname: \".\"\n\tzonefile: %q\n", filepath.Join(l.dir, "root")),
	})
	for _, zone := range zones {
		stubs[zone] = d.Addr()
	}
	l.addr53 = address53(t)
	server := ""
	if l.addr53 != "" {
		server = "\tinterface: " + l.addr53 + "@53\n"
	}
	r := lab.Unbound(t, lab.UnboundOptions{Stubs: stubs, Anchors: anchors, Server: server})
	l.resolver = strings.Replace(r.Addr(), ":", "@", 1)
	l.anchor = filepath.Join(l.dir, "anchor")
	write(t, l.anchor, strings.Join(anchors, "\n")+"\n")
	lab.TLSServer(t, lab.TLSOptions{Addr: l.at("127.0.0.2"), Certs: l.certs})
	lab.TLSServer(t, lab.TLSOptions{Addr: l.at("127.0.0.3"), Certs: l.certs, Speak: "smtp"})
}

func (l *daneLab) at(addr string) string { return net.JoinHostPort(addr, fmt.Sprint(l.port)) }

// args are those of verify-dane in this world.
func (l *daneLab) args(more ...string) []string {
	return append([]string{"verify-dane", "--resolver", l.resolver, "--trust-anchor", l.anchor, "--ca-file", l.caFile, "--timeout", "10s"}, more...)
}

func dsOf(t testing.TB, file string) *dns.DS {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rr, err := dns.NewRR(string(b))
	if err != nil {
		t.Fatal(err)
	}
	return rr.(*dns.DNSKEY).ToDS(dns.SHA256)
}

// change goes through the records of a zone; nil drops one.
func change(t testing.TB, text string, f func(dns.RR) dns.RR) string {
	t.Helper()
	var out bytes.Buffer
	p := dns.NewZoneParser(strings.NewReader(text), "", "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		if rr = f(rr); rr != nil {
			fmt.Fprintln(&out, rr)
		}
	}
	if p.Err() != nil {
		t.Fatal(p.Err())
	}
	return out.String()
}

// address53 is an address of the loopback interface on whose port 53 nobody
// listens; "" where we may not listen there either.
func address53(t testing.TB) string {
	t.Helper()
	for i := 2; i < 250; i++ {
		addr := fmt.Sprintf("127.%d.54.%d", 1+os.Getpid()%250, i)
		at := net.JoinHostPort(addr, "53")
		l, err := net.Listen("tcp", at)
		if os.IsPermission(err) {
			return ""
		}
		if err != nil {
			continue
		}
		c, err := net.ListenPacket("udp", at)
		l.Close()
		if err == nil {
			c.Close()
			return addr
		}
	}
	return ""
}

// openssl runs openssl s_server at an address with a key of a kind that Go has
// not, or with options of its own, and gives its certificate.
func (l *daneLab) openssl(addr string, request, server []string) *x509.Certificate {
	t := l.t
	t.Helper()
	key, pemFile := filepath.Join(l.dir, addr+".key"), filepath.Join(l.dir, addr+".pem")
	lab.Run(t, "openssl", append([]string{"req", "-x509", "-nodes", "-subj", "/CN=odd.signed.lab", "-days", "2", "-keyout", key, "-out", pemFile}, request...)...)
	cmd := exec.Command("openssl", append([]string{"s_server", "-accept", l.at(addr), "-quiet", "-www", "-cert", pemFile, "-key", key}, server...)...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	lab.Until(t, "openssl s_server", func() error {
		c, err := net.Dial("tcp", l.at(addr))
		if err == nil {
			c.Close()
		}
		return err
	})
	b, err := os.ReadFile(pemFile)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	// crypto/x509 cannot read all of them: the octets are enough.
	c := &x509.Certificate{Raw: block.Bytes}
	spki := lab.Run(t, "openssl", "x509", "-in", pemFile, "-noout", "-pubkey")
	block, _ = pem.Decode([]byte(spki))
	c.RawSubjectPublicKeyInfo = block.Bytes
	return c
}

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// sorted lists the lines of a text in order.
func sorted(text string) []string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	slices.Sort(lines)
	return lines
}
