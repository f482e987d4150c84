package bucketpolicy

import "strings"

// resourcePrefix begins the resources of S3.
const resourcePrefix = "arn:aws:s3:::"

// statement is one statement of a policy. It matches where all of its parts do.
type statement struct {
	sid        string
	effect     Decision
	everyone   bool
	principals map[string]bool
	actions    []pattern
	resources  []pattern
	conditions []condition
}

func parseStatement(o object, bucket string, variables bool) (*statement, error) {
	if err := o.only("it", "Sid", "Effect", "Principal", "Action", "Resource", "Condition"); err != nil {
		return nil, err
	}
	s := &statement{}
	if sid, ok := o["Sid"]; ok {
		text, isText := sid.(string)
		if !isText {
			return nil, refuse("Sid must be a text")
		}
		s.sid = text
	}
	switch o["Effect"] {
	case "Allow":
		s.effect = Allow
	case "Deny":
		s.effect = Deny
	default:
		return nil, refuse("Effect must be Allow or Deny")
	}
	if err := s.parsePrincipal(o["Principal"]); err != nil {
		return nil, err
	}
	resources, err := texts("Resource", o["Resource"])
	if err != nil {
		return nil, err
	}
	if err := s.parseResources(resources, bucket, variables); err != nil {
		return nil, err
	}
	actions, err := texts("Action", o["Action"])
	if err != nil {
		return nil, err
	}
	if err := s.parseActions(actions, resources, bucket); err != nil {
		return nil, err
	}
	if c, ok := o["Condition"]; ok {
		s.conditions, err = parseConditions(c, variables)
	}
	return s, err
}

// parsePrincipal reads who is meant: "*", or {"AWS": ...} of "*", ids of access keys, and users'
// names of the form arn:aws:iam::ACCOUNT:user/ID.
func (s *statement) parsePrincipal(value any) error {
	if value == "*" {
		s.everyone = true
		return nil
	}
	o, ok := value.(object)
	if !ok {
		return refuse("Invalid principal in policy: it is \"*\" or {\"AWS\": ...}")
	}
	if err := o.only("Principal", "AWS"); err != nil {
		return err
	}
	list, err := texts("AWS", o["AWS"])
	if err != nil {
		return err
	}
	s.principals = map[string]bool{}
	for _, text := range list {
		if text == "*" {
			s.everyone = true
			continue
		}
		id, err := principal(text)
		if err != nil {
			return err
		}
		s.principals[id] = true
	}
	return nil
}

// principal is the access key that a principal names.
func principal(text string) (string, error) {
	id := text
	if rest, ok := strings.CutPrefix(text, "arn:"); ok {
		account, user, found := strings.Cut(strings.TrimPrefix(rest, "aws:iam::"), ":user/")
		if !strings.HasPrefix(rest, "aws:iam::") || !found || !isAccount(account) {
			return "", refuse("Invalid principal in policy: %q is not of the form arn:aws:iam::ACCOUNT:user/ACCESS-KEY-ID", text)
		}
		id = user
	}
	if id == "" || strings.ContainsAny(id, "*?/:$ ") {
		return "", refuse("Invalid principal in policy: %q is not the id of an access key", text)
	}
	return id, nil
}

// isAccount accepts the number of an account, of which there is only one here, or none.
func isAccount(text string) bool {
	return text == "" || len(text) == 12 && strings.Trim(text, "0123456789") == ""
}

// parseResources reads patterns that lie within the bucket.
func (s *statement) parseResources(list []string, bucket string, variables bool) error {
	for _, text := range list {
		rest, ok := strings.CutPrefix(text, resourcePrefix+bucket)
		if !ok || rest != "" && rest[0] != '/' && rest[0] != '*' {
			return refuse("Policy has invalid resource: %q does not begin with %s%s", text, resourcePrefix, bucket)
		}
		p, err := syntax{wildcards: true, variables: variables}.parse(strings.TrimPrefix(text, resourcePrefix))
		if err != nil {
			return err
		}
		s.resources = append(s.resources, p)
	}
	return nil
}

// parseActions reads patterns each of which means some action that S3 has, and that can be
// done to one of the resources.
func (s *statement) parseActions(list, resources []string, bucket string) error {
	onBucket, onObjects := false, false
	for _, text := range resources {
		rest := strings.TrimPrefix(text, resourcePrefix+bucket)
		onBucket = onBucket || rest == "" || rest[0] == '*'
		onObjects = onObjects || rest != ""
	}
	for _, text := range list {
		p, err := syntax{wildcards: true}.parse(strings.ToLower(text))
		if err != nil {
			return err
		}
		known, applies := false, false
		for action, onObject := range actions {
			if !p.matches(strings.ToLower(action), "") {
				continue
			}
			known = true
			applies = applies || onObject && onObjects || !onObject && onBucket
		}
		if !known {
			return refuse("Policy has invalid action: %q", text)
		}
		if !applies {
			return refuse("Action does not apply to any resource(s) in statement: %q", text)
		}
		s.actions = append(s.actions, p)
	}
	return nil
}

// effort is that of all patterns that are matched with what a request brings.
func (s *statement) effort() (sum int) {
	for _, p := range s.resources {
		sum += p.effort()
	}
	for i := range s.conditions {
		for _, p := range s.conditions[i].texts {
			sum += p.effort()
		}
	}
	return sum
}

// names reports whether the statement is about an action.
func (s *statement) names(action string) bool {
	return anyMatches(s.actions, strings.ToLower(action), "")
}

func (s *statement) matches(r *Request) bool {
	if !s.everyone && (r.Principal == "" || !s.principals[r.Principal]) {
		return false
	}
	if !s.names(r.Action) || !anyMatches(s.resources, r.Resource, r.Principal) {
		return false
	}
	for i := range s.conditions {
		if !s.conditions[i].holds(r) {
			return false
		}
	}
	return true
}
