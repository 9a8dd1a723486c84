package acmeclient

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
)

// CertID is the name of a certificate in renewal information (RFC 9773 §4.1): the
// key identifier of its authority and its serial number as DER has it.
func CertID(leaf *x509.Certificate) (string, error) {
	if len(leaf.AuthorityKeyId) == 0 {
		return "", errors.New("name the certificate: it has no authority key identifier")
	}
	der, err := asn1.Marshal(leaf.SerialNumber)
	if err != nil {
		return "", fmt.Errorf("name the certificate: %w", err)
	}
	var serial asn1.RawValue
	if _, err := asn1.Unmarshal(der, &serial); err != nil {
		return "", fmt.Errorf("name the certificate: %w", err)
	}
	return encode(leaf.AuthorityKeyId) + "." + encode(serial.Bytes), nil
}
