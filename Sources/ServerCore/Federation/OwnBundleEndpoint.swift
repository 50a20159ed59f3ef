/// Where partners find this server's bundle, as far as its configuration says.
package struct OwnBundleEndpoint: Sendable, Hashable {
    /// `https_web` or `https_spiffe`.
    package let profileName: String
    /// The `https` URL; nil when the configuration does not say under which name partners reach the endpoint.
    package let url: String?

    package init(profileName: String, url: String?) {
        self.profileName = profileName
        self.url = url
    }
}
