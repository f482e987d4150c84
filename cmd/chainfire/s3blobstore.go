package main

import (
	"errors"
	"fmt"

	"chainfire/bodies/external"
)

// The environment variables of the access key for the external store of bodies. Each may come as
// the name of a file, with _FILE after its name.
const (
	blobIDVariable     = "CHAINFIRE_BLOB_ACCESS_KEY_ID"
	blobSecretVariable = "CHAINFIRE_BLOB_SECRET_ACCESS_KEY"
)

// blobStore is the external store of bodies that --blob-store names; nil is none.
func blobStore(address string, getenv func(string) string) (*external.Options, error) {
	if address == "" {
		return nil, nil
	}
	o, err := external.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("--blob-store: %w", err)
	}
	c, err := credentialsOf(getenv, blobIDVariable, blobSecretVariable)
	if err == nil && (c.ID == "" || c.Secret == "") {
		err = errors.New("no access key for it is given")
	}
	if err != nil {
		return nil, fmt.Errorf("--blob-store: %w: set %s and %s, or those of the same names with _FILE", err, blobIDVariable, blobSecretVariable)
	}
	o.AccessKeyID, o.SecretAccessKey = c.ID, c.Secret
	return &o, nil
}
