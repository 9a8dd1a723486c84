package dnssec

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

// keyWord is a word of a .key file and its place.
type keyWord struct {
	text string
	pos  diag.Pos
}

// parsePublic reads a .key file: one DNSKEY RR on one line or in parentheses,
// with or without TTL and class, and comments. The place is that of the RR. It
// knows less than a parser of master files, on purpose: no directives, no
// escapes in the data, no second record.
func parsePublic(file string, data []byte) (owner domain.Name, k dns.DNSKEY, pos diag.Pos, faults diag.List) {
	words, faults := keyWords(file, string(data))
	if len(faults) > 0 {
		return owner, k, pos, faults
	}
	if len(words) == 0 {
		faults.Errorf(diag.Pos{File: file}, "key-file", "", "the file holds no DNSKEY record")
		return owner, k, pos, faults
	}
	pos = words[0].pos
	owner, err := domain.Parse(words[0].text)
	if err != nil {
		faults.Errorf(pos, "key-file", "", "owner name %s", err)
	}
	rest := words[1:]
	for len(rest) > 0 && !strings.EqualFold(rest[0].text, "DNSKEY") {
		_, err := strconv.ParseUint(rest[0].text, 10, 31)
		if err != nil && !strings.EqualFold(rest[0].text, "IN") || len(words)-len(rest) > 2 {
			faults.Errorf(rest[0].pos, "key-file", "", "the record must be a DNSKEY of class IN")
			return owner, k, pos, faults
		}
		rest = rest[1:]
	}
	if len(rest) < 5 {
		faults.Errorf(pos, "key-file", "", "the DNSKEY record is cut short")
		return owner, k, pos, faults
	}
	number := func(i, bits int) uint64 {
		v, err := strconv.ParseUint(rest[i].text, 10, bits)
		if err != nil {
			faults.Errorf(rest[i].pos, "key-file", "", "the %s must be a number of %d bits", []string{1: "flags", 2: "protocol", 3: "algorithm"}[i], bits)
		}
		return v
	}
	k.Hdr = dns.RR_Header{Name: owner.String(), Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET}
	k.Flags, k.Protocol, k.Algorithm = uint16(number(1, 16)), uint8(number(2, 8)), uint8(number(3, 8))
	for _, w := range rest[4:] {
		k.PublicKey += w.text
	}
	raw, err := base64.StdEncoding.DecodeString(k.PublicKey)
	if err != nil || len(raw) == 0 {
		faults.Errorf(rest[4].pos, "key-file", "", "the public key is not in base64")
	}
	k.PublicKey = base64.StdEncoding.EncodeToString(raw)
	return owner, k, pos, faults
}

// keyWords splits the one record of a .key file into words.
func keyWords(file, text string) (words []keyWord, faults diag.List) {
	depth, number, ended := 0, 0, false
	for line := range strings.Lines(text) {
		number++
		pos := func(i int) diag.Pos { return diag.Pos{File: file, Line: number, Column: i + 1} }
		for i := 0; i < len(line); i++ {
			switch c := line[i]; {
			case c == ';':
				i = len(line)
			case c <= ' ':
			case c == '(':
				depth++
			case c == ')':
				if depth--; depth < 0 {
					faults.Errorf(pos(i), "key-file", "", "no parenthesis is open here")
					return nil, faults
				}
			case ended:
				faults.Errorf(pos(i), "key-file", "", "the file must hold one DNSKEY record and nothing else")
				return nil, faults
			case len(words) == 0 && i > 0:
				faults.Errorf(pos(i), "key-file", "", "the record must begin with its owner name")
				return nil, faults
			default:
				end := i
				for end < len(line) && line[end] > ' ' && !strings.ContainsRune(";()", rune(line[end])) {
					if line[end] == '\\' {
						end++ // an escaped octet ends no word
					}
					end++
				}
				end = min(end, len(line))
				words = append(words, keyWord{line[i:end], pos(i)})
				i = end - 1
			}
		}
		ended = len(words) > 0 && depth == 0
	}
	if depth > 0 {
		faults.Errorf(diag.Pos{File: file, Line: number}, "key-file", "", "a parenthesis is not closed")
	}
	return words, faults
}
