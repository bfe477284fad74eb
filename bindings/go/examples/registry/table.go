package main

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	treecache "github.com/libtreecache/libtreecache/bindings/go"
)

// A table knows where the services are. It is a copy of the tree in the form in which it is asked for: parsed, and
// without what is no address.
type table struct {
	prefix string
	known  chan struct{} // closed when the table is complete
	once   sync.Once

	mu       sync.RWMutex
	services map[string]map[string]netip.AddrPort // by service and instance
}

func newTable(root string) *table {
	return &table{
		prefix:   strings.TrimSuffix(root, "/") + "/",
		known:    make(chan struct{}),
		services: map[string]map[string]netip.AddrPort{},
	}
}

// apply takes over the events of one version, and returns what they have changed, a line for each.
func (t *table) apply(version []treecache.Event) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var changes []string
	for _, event := range version {
		service, instance, ok := strings.Cut(strings.TrimPrefix(event.Path, t.prefix), "/")
		if !ok || !strings.HasPrefix(event.Path, t.prefix) || strings.Contains(instance, "/") {
			continue // not an instance
		}
		if before, registered := t.services[service][instance]; registered {
			if delete(t.services[service], instance); len(t.services[service]) == 0 {
				delete(t.services, service)
			}
			changes = append(changes, fmt.Sprintf("- %s/%s %s", service, instance, before))
		}
		if event.Type == treecache.NodeRemoved {
			continue
		}
		address, err := netip.ParseAddrPort(string(event.Node.Data))
		if err != nil {
			changes = append(changes, fmt.Sprintf("? %s/%s has no address: %q", service, instance, event.Node.Data))
			continue
		}
		if t.services[service] == nil {
			t.services[service] = map[string]netip.AddrPort{}
		}
		t.services[service][instance] = address
		changes = append(changes, fmt.Sprintf("+ %s/%s %s", service, instance, address))
	}
	return changes
}

// complete says that the table has all there is.
func (t *table) complete() {
	t.once.Do(func() { close(t.known) })
}

// lookUp returns the addresses of a service in the order of its instances' names, once the table is complete.
func (t *table) lookUp(ctx context.Context, service string) ([]netip.AddrPort, error) {
	select {
	case <-t.known:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	instances := t.services[service]
	addresses := make([]netip.AddrPort, 0, len(instances))
	for _, instance := range slices.Sorted(maps.Keys(instances)) {
		addresses = append(addresses, instances[instance])
	}
	return addresses, nil
}
