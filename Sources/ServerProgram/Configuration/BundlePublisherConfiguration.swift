import PluginAPI
import Plugins
import ServiceRuntime

/// One place where the bundle is to be published.
package struct BundlePublisherConfiguration: Sendable, Hashable {
    enum Settings: Sendable, Hashable {
        case file(FileBundlePublisher.Settings)
        case awsS3(AWSS3BundlePublisher.Settings)
        case kubernetesConfigMap(KubernetesConfigMapBundlePublisher.Settings)
    }

    let settings: Settings

    /// The publishers that this program has.
    static let builtIn = ["aws_s3", "file", "k8s_configmap"]

    /// Reads the settings of a `BundlePublisher` plugin; nil when its name is none of ``builtIn``.
    ///
    /// - Returns: Several for a plugin that names several clusters.
    /// - Throws: ``ConfigurationError``.
    static func read(
        _ name: String, _ data: inout ConfigurationSection
    ) throws(ConfigurationError) -> [BundlePublisherConfiguration]? {
        let settings: [Settings]
        switch name {
        case "file": settings = [.file(try self.file(&data))]
        case "aws_s3": settings = [.awsS3(try self.awsS3(&data))]
        case "k8s_configmap":
            var clusters: [Settings] = []
            for (cluster, section) in try data.labelledSections("clusters") {
                var section = section
                clusters.append(.kubernetesConfigMap(try self.cluster(cluster, &section)))
                try section.finish()
            }
            guard !clusters.isEmpty else {
                throw data.missing(
                    "clusters", "it names at least one cluster to publish the bundle in")
            }
            settings = clusters
        default: return nil
        }
        let configurations = settings.map(BundlePublisherConfiguration.init(settings:))
        for configuration in configurations {
            do {
                _ = try configuration.publisher()
            } catch {
                throw ConfigurationError(
                    .invalidValue,
                    "BundlePublisher \"\(name)\" at \(data.location): \(error.message)")
            }
        }
        return configurations
    }

    /// The publisher; makes no connection yet.
    ///
    /// - Throws: ``BundlePublisherError`` `configuration`.
    func publisher() throws(BundlePublisherError) -> any BundlePublisher {
        switch self.settings {
        case .file(let settings): FileBundlePublisher(settings)
        case .awsS3(let settings): try AWSS3BundlePublisher(settings)
        case .kubernetesConfigMap(let settings): try KubernetesConfigMapBundlePublisher(settings)
        }
    }

    private static func file(
        _ data: inout ConfigurationSection
    ) throws(ConfigurationError) -> FileBundlePublisher.Settings {
        FileBundlePublisher.Settings(
            path: try self.required("path", "it names the file to write", &data),
            format: try self.format(&data), refreshHint: try self.refreshHint(&data))
    }

    private static func awsS3(
        _ data: inout ConfigurationSection
    ) throws(ConfigurationError) -> AWSS3BundlePublisher.Settings {
        var settings = AWSS3BundlePublisher.Settings(
            region: try self.required("region", "such as \"eu-west-1\"", &data),
            bucket: try self.required("bucket", "it names the bucket", &data),
            objectKey: try self.required("object_key", "it names the object", &data),
            format: try self.format(&data))
        settings.accessKeyID = try data.string("access_key_id") ?? ""
        settings.secretAccessKey = try data.string("secret_access_key") ?? ""
        if settings.accessKeyID.isEmpty != settings.secretAccessKey.isEmpty {
            let missing = settings.accessKeyID.isEmpty ? "access_key_id" : "secret_access_key"
            throw data.missing(missing, "access_key_id and secret_access_key go together")
        }
        settings.endpoint = try data.string("endpoint").flatMap { $0.isEmpty ? nil : $0 }
        settings.refreshHint = try self.refreshHint(&data)
        return settings
    }

    private static func cluster(
        _ name: String, _ data: inout ConfigurationSection
    ) throws(ConfigurationError) -> KubernetesConfigMapBundlePublisher.Settings {
        var settings = KubernetesConfigMapBundlePublisher.Settings(
            cluster: name,
            namespace: try self.required("namespace", "it names the ConfigMap's namespace", &data),
            configMapName: try self.required("configmap_name", "it names the ConfigMap", &data),
            configMapKey: try self.required(
                "configmap_key", "it names the key in the ConfigMap", &data),
            format: try self.format(&data))
        settings.kubeconfigPath = try data.string("kubeconfig_path") ?? ""
        settings.refreshHint = try self.refreshHint(&data)
        return settings
    }

    private static func format(
        _ data: inout ConfigurationSection
    ) throws(ConfigurationError) -> BundleFormat {
        let name = try data.choice("format", among: BundleFormat.allCases.map(\.rawValue))
        guard let format = name.flatMap(BundleFormat.init(rawValue:)) else {
            throw data.missing("format", "write format = \"spiffe\", \"jwks\" or \"pem\"")
        }
        return format
    }

    private static func refreshHint(
        _ data: inout ConfigurationSection
    ) throws(ConfigurationError) -> Duration? {
        try data.duration("refresh_hint", atLeast: .seconds(1))
    }

    private static func required(
        _ key: String, _ hint: String, _ data: inout ConfigurationSection
    ) throws(ConfigurationError) -> String {
        guard let text = try data.string(key), !text.isEmpty else {
            throw data.missing(key, hint)
        }
        return text
    }
}
