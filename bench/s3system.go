package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// newMinio is one node of MinIO with its defaults, on one folder: every put is synced.
func newMinio(binary string) system {
	return system{
		name:        "minio",
		binary:      binary,
		env:         []string{"MINIO_ROOT_USER=" + s3AccessKey, "MINIO_ROOT_PASSWORD=" + s3Secret, "MINIO_BROWSER=off"},
		versionArgs: []string{"--version"},
		args: func(seats []seat, i int) []string {
			return []string{"server", "--quiet", "--address", seats[i].s3, "--console-address", seats[i].peer, seats[i].dir}
		},
		serves: func(ctx context.Context, s seat, _ int) error { return servesS3(ctx, s) },
	}
}

// newChainFireS3 is ChainFire with its defaults, whose first start takes the access key of
// the loads.
func newChainFireS3(binary string) system {
	s := chainFire(binary, func(s seat) string { return "--listen-s3=" + s.s3 })
	s.env = []string{"AWS_ACCESS_KEY_ID=" + s3AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3Secret}
	s.serves = func(ctx context.Context, s seat, n int) error {
		if err := serves(ctx, s.client, n); err != nil {
			return err
		}
		return servesS3(ctx, s)
	}
	return s
}

// servesS3 asks a server for the list of buckets.
func servesS3(ctx context.Context, s seat) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	c := newObjectClient([]string{s.s3}, true)
	defer c.close()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.s3+"/", nil)
	if err != nil {
		return err
	}
	if err := c.signer.Sign(r, hashOfNothing, time.Now()); err != nil {
		return err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return err
	}
	if err := answer.Body.Close(); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("S3 answers %s", answer.Status)
	}
	return nil
}

// s3Endpoints are where the members serve S3.
func (c *cluster) s3Endpoints() []string {
	var out []string
	for _, s := range c.seats {
		out = append(out, s.s3)
	}
	return out
}
