package zone

import "github.com/miekg/dns"

// layout describes the rdata of a type, a letter a field. Types without one
// are read and written by miekg/dns.
//
//	a IPv4  q IPv6  n name, lower-cased (RFC 4034 §6.2)
//	1 2 4 integer of so many octets  d 32 bits in seconds, units allowed on input
//	g algorithm number or mnemonic  T type mnemonic  x RRSIG time
//	s character-string  u the same, bare letters and digits  S one or more of them  X rest, one text without length
//	h rest in hex  b rest in base64  H hex with a length octet, - for none
//	c base32hex with a length octet  t type bitmap
func layout(typ uint16) string {
	switch typ {
	case dns.TypeA:
		return "a"
	case dns.TypeAAAA:
		return "q"
	case dns.TypeNS, dns.TypeCNAME, dns.TypePTR, dns.TypeDNAME, dns.TypeMB, dns.TypeMG, dns.TypeMR:
		return "n"
	case dns.TypeMX, dns.TypeAFSDB, dns.TypeKX, dns.TypeRT:
		return "2n"
	case dns.TypePX:
		return "2nn"
	case dns.TypeSRV:
		return "222n"
	case dns.TypeTXT, dns.TypeSPF:
		return "S"
	case dns.TypeSOA:
		return "nn4dddd"
	case dns.TypeRP, dns.TypeMINFO:
		return "nn"
	case dns.TypeHINFO:
		return "ss"
	case dns.TypeNAPTR:
		return "22sssn"
	case dns.TypeCAA:
		return "1uX"
	case dns.TypeURI:
		return "22X"
	case dns.TypeDS, dns.TypeCDS, dns.TypeDLV:
		return "2g1h"
	case dns.TypeTLSA, dns.TypeSMIMEA:
		return "111h"
	case dns.TypeSSHFP:
		return "11h"
	case dns.TypeOPENPGPKEY, dns.TypeDHCID:
		return "b"
	case dns.TypeDNSKEY, dns.TypeCDNSKEY:
		return "21gb"
	case dns.TypeRRSIG:
		return "Tg14xx2nb"
	case dns.TypeNSEC:
		return "nt"
	case dns.TypeNSEC3:
		return "112Hct"
	case dns.TypeNSEC3PARAM:
		return "112H"
	case dns.TypeZONEMD:
		return "411h"
	}
	return ""
}
