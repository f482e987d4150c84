package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"chainfire/internal/disk"
	"chainfire/node"
	"chainfire/object"
	"chainfire/s3admin"
)

// The environment variables of the first access key and the first bucket. The first two may
// come as the name of a file, with _FILE after theirs.
const (
	keyIDVariable     = "AWS_ACCESS_KEY_ID"
	keySecretVariable = "AWS_SECRET_ACCESS_KEY"
	fileSuffix        = "_FILE"
	bucketVariable    = "CHAINFIRE_BUCKET"
)

// maxVariableFile bounds a file that holds the value of a variable.
const maxVariableFile = 4 << 10

// firstS3 is what a new cluster begins with, by the environment; nil is nothing that is
// owed. The directory is one that begins a cluster, or that begun one and owes it its key.
func firstS3(o *s3Options, dir string, joins bool, getenv func(string) string) (*s3admin.First, error) {
	if !o.on {
		return nil, nil
	}
	f := &s3admin.First{FS: disk.OS(), Mark: node.FirstKeyMark(dir), KeyFile: node.FirstKeyFile(dir)}
	owed, err := f.Owed()
	if err != nil {
		return nil, err
	}
	if !owed && (joins || isMember(dir)) {
		return nil, nil
	}
	if f.Key, err = keyOf(getenv); err != nil {
		return nil, fmt.Errorf("the first access key of S3: %w", err)
	}
	if f.Bucket = getenv(bucketVariable); f.Bucket != "" {
		if err := object.CheckBucketName(f.Bucket); err != nil {
			return nil, fmt.Errorf("%s: %w", bucketVariable, err)
		}
	}
	return f, nil
}

// isMember reports whether a directory is that of a member already.
func isMember(dir string) bool {
	d, found, err := node.LookAt(disk.OS(), dir)
	// What cannot be read is found wrong by who starts the member.
	return err == nil && found && d.Member != 0
}

// keyOf is the first access key that the environment gives; nil is none.
func keyOf(getenv func(string) string) (*s3admin.Credentials, error) {
	c, err := credentialsOf(getenv, keyIDVariable, keySecretVariable)
	switch {
	case err != nil:
		return nil, err
	case c == s3admin.Credentials{}:
		return nil, nil
	case c.ID == "":
		return nil, fmt.Errorf("%s is set and %s is not: set both, or none for a key by chance", keySecretVariable, keyIDVariable)
	case c.Secret == "":
		return nil, fmt.Errorf("%s is set and %s is not: set both, or none for a key by chance", keyIDVariable, keySecretVariable)
	}
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("%s, %s: %w", keyIDVariable, keySecretVariable, err)
	}
	return &c, nil
}

// credentialsOf reads the id and the secret of an access key from two variables of the environment, or
// from the files that those of their names with _FILE name. What is not set is empty.
func credentialsOf(getenv func(string) string, id, secret string) (c s3admin.Credentials, err error) {
	for _, v := range []struct {
		name string
		to   *string
	}{{id, &c.ID}, {secret, &c.Secret}} {
		file := getenv(v.name + fileSuffix)
		if *v.to = getenv(v.name); *v.to != "" && file != "" {
			return c, fmt.Errorf("%s and %s: set one of them", v.name, v.name+fileSuffix)
		}
		if file == "" {
			continue
		}
		b, err := disk.ReadFile(disk.OS(), file, maxVariableFile)
		if err != nil {
			return c, fmt.Errorf("%s: %w", v.name+fileSuffix, err)
		}
		if *v.to = strings.TrimRight(string(b), "\r\n"); *v.to == "" {
			return c, fmt.Errorf("%s: %s is empty", v.name+fileSuffix, file)
		}
	}
	return c, nil
}

// makeFirst makes the first access key, if it is owed, and tells of a cluster that has none.
func (m *s3Member) makeFirst(ctx context.Context) {
	if m.first != nil {
		m.first.Objects, m.first.Logger = m.objects, m.log
		if err := m.first.Run(ctx); err != nil && ctx.Err() == nil {
			m.log.Error("the first access key of S3 was not made", "err", err)
		}
		return
	}
	none, err := m.keyless(ctx)
	switch {
	case err != nil:
		m.log.Debug("the access keys of S3 cannot be read yet", "err", err)
	case none:
		m.log.Info("S3 has no access key that this member knows of: make one with 'chainfire s3 key create --admin'")
	}
}

// keyless reports whether this member knows of no access key.
func (m *s3Member) keyless(ctx context.Context) (none bool, err error) {
	v, err := m.objects.Local(ctx)
	if err != nil {
		return false, err
	}
	keys, err := v.AccessKeys()
	return len(keys) == 0, errors.Join(err, v.Close())
}
