package s3admin

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"chainfire/api"
	"chainfire/object"
)

// Bounds of what is said of a key.
const (
	maxDescription = 256 // bytes
	maxGrants      = 100
)

// CreateS3Key implements api.S3Server.
func (s *Service) CreateS3Key(ctx context.Context, q *api.CreateS3KeyRequest) (*api.CreateS3KeyResponse, error) {
	k := object.AccessKey{Description: q.GetDescription(), Admin: q.GetAdmin(), Grants: grants(q.GetGrants())}
	setLimits(&k, q.GetLimits())
	if err := check(&k); err != nil {
		return nil, err
	}
	secret, err := s.create(ctx, &k, NewCredentials())
	if err != nil {
		return nil, err
	}
	s.o.Logger.Info("access key made", "key", k.ID, "admin", k.Admin, "grants", grantsText(k.Grants))
	return &api.CreateS3KeyResponse{Key: apiKey(&k), Secret: secret}, nil
}

// create makes a key with credentials.
func (s *Service) create(ctx context.Context, k *object.AccessKey, c Credentials) (secret string, err error) {
	if s.o.Objects == nil {
		return "", errOff
	}
	q, err := makeKey(s.o.Objects, k, c, s.o.Now())
	if err != nil {
		return "", toStatus(err)
	}
	_, err = s.change(ctx, q)
	return c.Secret, err
}

// makeKey gives a new key its credentials, and is the change that makes it.
func makeKey(o object.Service, k *object.AccessKey, c Credentials, at time.Time) (*object.Change, error) {
	sealed, err := o.Seal(c.ID, c.Secret)
	if err != nil {
		return nil, fmt.Errorf("seal the secret: %w", err)
	}
	// The cluster takes the time of the change for that of the key.
	k.ID, k.Sealed, k.Created = c.ID, sealed, at.UnixMilli()
	return &object.Change{Time: k.Created, SetKey: &object.SetKey{Key: *k, New: true}}, nil
}

// ListS3Keys implements api.S3Server.
func (s *Service) ListS3Keys(ctx context.Context, _ *api.ListS3KeysRequest) (*api.ListS3KeysResponse, error) {
	out := &api.ListS3KeysResponse{}
	err := s.read(ctx, func(v *object.View) error {
		keys, err := v.AccessKeys()
		for i := range keys {
			out.Keys = append(out.Keys, apiKey(&keys[i]))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// SetS3Key implements api.S3Server.
func (s *Service) SetS3Key(ctx context.Context, q *api.SetS3KeyRequest) (*api.SetS3KeyResponse, error) {
	s.keys.Lock()
	defer s.keys.Unlock()
	var was *object.AccessKey
	err := s.read(ctx, func(v *object.View) (err error) {
		was, err = v.AccessKey(q.GetId())
		return err
	})
	if err != nil {
		return nil, err
	}
	k := *was
	if q.Disabled != nil {
		k.Disabled = q.GetDisabled()
	}
	if q.Description != nil {
		k.Description = q.GetDescription()
	}
	if q.Admin != nil {
		k.Admin = q.GetAdmin()
	}
	if q.Grants != nil {
		k.Grants = grants(q.GetGrants().GetGrants())
	}
	if q.Limits != nil {
		setLimits(&k, q.GetLimits())
	}
	if err := check(&k); err != nil {
		return nil, err
	}
	if _, err := s.change(ctx, &object.Change{SetKey: &object.SetKey{Key: k, Was: was}}); err != nil {
		return nil, err
	}
	s.o.Logger.Info("access key changed", "key", k.ID, "disabled", k.Disabled, "admin", k.Admin, "grants", grantsText(k.Grants))
	return &api.SetS3KeyResponse{Key: apiKey(&k)}, nil
}

// DeleteS3Key implements api.S3Server.
func (s *Service) DeleteS3Key(ctx context.Context, q *api.DeleteS3KeyRequest) (*api.DeleteS3KeyResponse, error) {
	if _, err := s.change(ctx, &object.Change{DeleteKey: &object.DeleteKey{ID: q.GetId()}}); err != nil {
		return nil, err
	}
	s.o.Logger.Info("access key deleted", "key", q.GetId())
	return &api.DeleteS3KeyResponse{}, nil
}

func grants(list []*api.S3Grant) []object.Grant {
	var out []object.Grant
	for _, g := range list {
		out = append(out, object.Grant{Bucket: g.GetBucket(), Read: g.GetRead(), Write: g.GetWrite()})
	}
	return out
}

func setLimits(k *object.AccessKey, l *api.S3Limits) {
	k.Requests, k.Bytes, k.MaxObject = l.GetRequests(), l.GetBytes(), l.GetMaxObject()
}

// check refuses a key that cannot be, by what of it.
func check(k *object.AccessKey) error {
	switch {
	case len(k.Description) > maxDescription:
		return invalid("the description has %d bytes: give at most %d", len(k.Description), maxDescription)
	case !utf8.ValidString(k.Description) || strings.ContainsFunc(k.Description, unicode.IsControl):
		return invalid("the description %q: give one line of text", k.Description)
	case len(k.Grants) > maxGrants:
		return invalid("%d patterns of buckets: give at most %d", len(k.Grants), maxGrants)
	case k.Admin && len(k.Grants) > 0:
		return invalid("an admin key may do everything: leave out either admin or the buckets")
	}
	for i, l := range []struct {
		name string
		n    int64
	}{{"requests", k.Requests}, {"bytes", k.Bytes}, {"max-object", k.MaxObject}} {
		if l.n < 0 {
			return invalid("limit %d (%s) is %d: give a number from 0 on", i+1, l.name, l.n)
		}
	}
	for _, g := range k.Grants {
		if err := checkPattern(g.Bucket); err != nil {
			return invalid("%v", err)
		}
		if !g.Read && !g.Write {
			return invalid("the grant of bucket %q is neither to read nor to write", g.Bucket)
		}
	}
	return nil
}

// patternChars are those of names of buckets, and the one that stands for any.
const patternChars = "abcdefghijklmnopqrstuvwxyz0123456789.-*"

func checkPattern(p string) error {
	if p == "" || len(p) > object.MaxBucketLen {
		return fmt.Errorf("the pattern %q has %d bytes: give between 1 and %d, as logs-*", p, len(p), object.MaxBucketLen)
	}
	if i := strings.IndexFunc(p, func(r rune) bool { return !strings.ContainsRune(patternChars, r) }); i >= 0 {
		return fmt.Errorf("byte %d of the pattern %q cannot be in the name of a bucket: give lower-case letters, digits, dots, hyphens, and * for any", i, p)
	}
	return nil
}

func apiKey(k *object.AccessKey) *api.S3Key {
	out := &api.S3Key{
		Id: k.ID, Description: k.Description, Created: k.Created, Disabled: k.Disabled, Admin: k.Admin,
		Limits: &api.S3Limits{Requests: k.Requests, Bytes: k.Bytes, MaxObject: k.MaxObject},
	}
	for _, g := range k.Grants {
		out.Grants = append(out.Grants, &api.S3Grant{Bucket: g.Bucket, Read: g.Read, Write: g.Write})
	}
	return out
}

// grantsText is a list of grants for the log.
func grantsText(list []object.Grant) string {
	var out []string
	for _, g := range list {
		what := ""
		if g.Read {
			what += "r"
		}
		if g.Write {
			what += "w"
		}
		out = append(out, g.Bucket+":"+what)
	}
	return strings.Join(out, " ")
}
