// The Gateway API conformance suite, as a program: conformance.test -test.run TestConformance -gateway-class NAME ...
package conformance

import (
	"os"
	"strings"
	"testing"

	v1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/conformance"
)

// Addresses that the network of the test gives, and one that nothing gives, come from the environment.
func TestConformance(t *testing.T) {
	options := conformance.DefaultOptions(t)
	options.UsableNetworkAddresses = addresses("USABLE_ADDRESSES")
	options.UnusableNetworkAddresses = addresses("UNUSABLE_ADDRESSES")
	conformance.RunConformanceWithOptions(t, options)
}

func addresses(name string) (all []v1.GatewaySpecAddress) {
	kind := v1.IPAddressType
	for _, value := range strings.Fields(os.Getenv(name)) {
		all = append(all, v1.GatewaySpecAddress{Type: &kind, Value: value})
	}
	return all
}
